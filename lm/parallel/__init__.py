"""How a step is spread over devices: the mesh, and the shardings over it."""
