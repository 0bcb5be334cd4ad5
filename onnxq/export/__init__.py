"""Export to other formats than ONNX."""
