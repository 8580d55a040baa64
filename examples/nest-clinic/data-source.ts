import 'reflect-metadata';
import { ConfigService } from '@nestjs/config';
import { DataSource } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';
import { withFieldEncryption } from 'typeorm-field-encryption';

import { encryptionOptions, typeormOptions } from './database.js';
import { Patient } from './patients/patient.entity.js';
import { Staff } from './staff/staff.entity.js';

const config = new ConfigService();

/** For the commands of TypeORM and this library, which start no application. */
export const dataSource = withFieldEncryption(
  new DataSource({
    ...(typeormOptions(config) as DataSourceOptions),
    entities: [Patient, Staff],
  }),
  encryptionOptions(config),
);
