"""What `Model` and `Classifier` share: parameters, the fitted record, files, display."""
