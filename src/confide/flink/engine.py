# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#   "apache-flink==2.3.0",
#   "typing-extensions",
# ]
# [tool.uv]
# override-dependencies = [
#   "apache-beam ; sys_platform == 'never'",
#   "pyarrow>=26,<27",
# ]
# ///
"""What the images of Flink programs take from the package index, locked in `engine.py.lock`.

Apache Beam is left out: it is what runs Python functions in processes of their own, to which Flink sends every
record in clear, so an image that could do it would be the weaker. Without it PyFlink's ceilings on other packages
fall too, and the one that remains, on pyarrow, is lifted for the version that `confide` reads tables with.

    uv lock --script src/confide/flink/engine.py --no-build [--upgrade]
"""
