"""Skycore, wxml 1.3: barcode tickets. ``codes`` holds its vocabulary, ``client`` makes its calls."""
