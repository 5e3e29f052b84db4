"""operations of the hub: keeping its data (backup, restore) and seeing whether it is well (doctor, its page, metrics)."""
