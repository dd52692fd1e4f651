"""Where the flows run: schedules, work pools, limits, dashboards."""
