"""Every JSON document that datac reads or writes, one file each."""
