"""The built-in interceptors, one file each."""
