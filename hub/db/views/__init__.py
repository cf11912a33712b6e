"""Read views: what the API, the console and `hub status` show. They only read; every function takes an open Connection."""
