"""The version of this program; a test holds it equal to pyproject.toml.

It is a constant so that `luci --version` reads no package metadata.
"""

VERSION = "0.1.0"

HOST_PROTOCOL = 1
"""What host and front ends speak; raised with a change that the older side would not understand."""
