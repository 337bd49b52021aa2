"""luci: find, verify, quantize, test and talk to local GGUF models in a terminal."""
