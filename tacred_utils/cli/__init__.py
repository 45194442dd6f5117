"""Above the rooms: the command line, the runner of the notebooks, the report and the README's results. No notebook imports it."""
