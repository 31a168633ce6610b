"""The kernel side seen from Python: the only package that imports bcc or ctypes."""
