"""`orc simulate`: a made-up house, played by what decides in the real one. `report.simulate` plays one to its end."""
