"""The compute room: one `map`, in this process, in processes on this machine, or on a Ray cluster."""

from __future__ import annotations

from alphaloom.compute.local import Local, local
from alphaloom.compute.outcome import WorkerError
from alphaloom.compute.processes import Processes, processes
from alphaloom.compute.ray import RayCluster, ray_cluster

__all__ = ["Local", "Processes", "RayCluster", "WorkerError", "local", "processes", "ray_cluster"]
