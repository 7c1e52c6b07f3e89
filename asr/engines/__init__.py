"""Engines run a job's workers: `local` on this machine, `ray_data` under Ray Data, on one machine or a cluster."""
