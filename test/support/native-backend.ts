/** The project `native` runs with the add-on and nothing else, if there is one. */
const { FIELD_ENCRYPTION_TEST_NO_NATIVE } = process.env;
process.env['FIELD_ENCRYPTION_NATIVE'] = FIELD_ENCRYPTION_TEST_NO_NATIVE === undefined ? '1' : '0';
