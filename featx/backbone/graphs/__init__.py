"""ONNX graphs made from other ones: quantised, in half precision, fused, packed, pooled."""
