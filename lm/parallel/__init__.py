"""How one step is spread over devices; nothing else knows of meshes."""
