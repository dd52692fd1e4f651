"""What a person writes becomes checked, typed content: campaign and event files, recipients, media."""
