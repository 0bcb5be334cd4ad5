"""onnxq: a post-training quantizer that rewrites ONNX graphs."""
