"""The paper's claims as rules on recorded figures."""
