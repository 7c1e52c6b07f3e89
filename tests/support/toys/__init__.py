"""The smallest members of the families: tests/test_one_file_one_name.py adds each to a copy of the project."""
