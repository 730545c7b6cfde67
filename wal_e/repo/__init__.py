"""Our archive format: names, packs, block maps, manifests, stored WAL."""
