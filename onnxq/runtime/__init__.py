"""Running models: the only folder that imports ONNX Runtime."""
