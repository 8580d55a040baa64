{
  "variables": {
    "version": "<!(node -p \"require('./package.json').version\")",
  },
  "targets": [
    {
      "target_name": "field_encryption",
      "sources": ["src/core.c", "src/addon.c"],
      "defines": ["FE_VERSION=\"<(version)\"", "NDEBUG"],
      "cflags_c": ["-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden", "-fstack-protector-strong"],
      "conditions": [
        # What Node.js does not export is noticed when the file is loaded, and not in the middle of a call.
        ["OS=='linux'", { "ldflags": ["-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,noexecstack"] }],
        ["OS=='mac'", { "xcode_settings": { "GCC_SYMBOLS_PRIVATE_EXTERN": "YES" } }],
      ],
    },
  ],
}
