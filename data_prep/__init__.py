"""Corpora on disk to manifests and stored log-mels; one file a corpus."""
