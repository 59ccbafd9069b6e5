"""The live page of the emulator: server-rendered, without JavaScript of others and without any other host."""
