"""Who is logged in: kept by the browser, in cookies that only the console can read."""
