"""Recording while skorch trains."""
