"""What an experiment is: schema, YAML files, and what a continued run may change."""
