"""What everything else stands on: settings, errors, registries, streams, files, features."""
