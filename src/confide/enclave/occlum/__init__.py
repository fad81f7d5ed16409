"""Images as instances of Occlum: its configuration, and the plan of which file is copied where."""
