/** The project `core` runs without the add-on, also where it is installed. */
process.env['FIELD_ENCRYPTION_NATIVE'] = '0';
