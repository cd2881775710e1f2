"""`google.cloud.tasks.v2.CloudTasks` in memory, for the official client: it pushes tasks to HTTP targets.

What is due is decided by an injected clock, so that tests tell the time.
"""
