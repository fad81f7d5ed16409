"""The guest: a virtual machine of the distribution's kernel and an initrd of ours, which verifies an image and runs it.

Built here by `build`, started by `qemu`, and inside it `boot` runs. One guest runs every image: which one is said where
it is measured, and the guest refuses any other. Format: docs/formats/guest.md.
"""
