"""The models on this machine: installed ones, a person's own, and those of other programs."""
