"""Embeddings of whole sequences: views of a sequence, windows of them, and their pooling."""

from backcast.embedding.embedder import Embedder

__all__ = ["Embedder"]
