"""Who may enter: accounts, passwords, sessions, attempts."""
