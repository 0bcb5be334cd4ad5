"""The passes, one file each, in a folder for each stage.

A module here holds exactly one public subclass of ``onnxq.pipeline.Pass`` and is found by the
registry without being listed anywhere. Modules whose name starts with ``_`` hold what several
passes of one stage share.
"""

if __name__ != "onnxq.passes":
    raise ImportError(
        f"this folder was imported as '{__name__}'; its only name is 'onnxq.passes'. The link "
        "'passes' beside 'onnxq' is for reading: import from 'onnxq.passes' instead."
    )
