"""Long trials, run by hand or by CI beside the tests: python -m tests.programs.NAME"""
