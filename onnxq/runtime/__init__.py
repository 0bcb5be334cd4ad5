"""The sole importer of onnxruntime: sessions, taps, kernel coverage."""
