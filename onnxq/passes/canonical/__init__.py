"""One way to write each graph: constants, identities, opset, shapes, before anything is matched."""
