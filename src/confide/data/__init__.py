"""The two formats of data at rest: encrypted tables and sealed files, and the listings that bind them."""
