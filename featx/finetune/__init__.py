"""Fine-tuning: the last layers of a backbone, trained inside ONNX Runtime."""
