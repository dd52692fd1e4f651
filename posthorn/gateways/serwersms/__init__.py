"""SerwerSMS.pl, HTTPS API v2: campaigns. ``codes`` holds its vocabulary, ``client`` makes its calls."""
