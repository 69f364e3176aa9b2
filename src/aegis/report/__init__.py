"""What people and build servers read: live progress and tables on a terminal, JUnit XML.

Public names: `terminal` (Progress, print_table, print_runs, result_line), `junit` (render, write) and `text`
(making what agents wrote safe to print). Everything is made from the run document (`aegis.results.document`).
"""
