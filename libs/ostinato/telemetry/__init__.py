"""Logs, traces and metrics of a process. Import the module you need: metrics belong to the services extra."""
