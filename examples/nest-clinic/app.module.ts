import { Module } from '@nestjs/common';
import { ConfigModule, ConfigService } from '@nestjs/config';
import { FieldEncryptionModule } from 'typeorm-field-encryption/nestjs';

import { encryptionOptions, typeormOptions } from './database.js';
import { OperationsModule } from './operations/operations.module.js';
import { ApprovalsModule } from './oversight/approvals.module.js';
import { PatientsModule } from './patients/patients.module.js';
import { StaffModule } from './staff/staff.module.js';

@Module({
  imports: [
    ConfigModule.forRoot({ isGlobal: true }),
    FieldEncryptionModule.forRootAsync({
      inject: [ConfigService],
      useFactory: (config: ConfigService) => ({
        ...encryptionOptions(config),
        maintenance: { everyMs: 3_600_000 },
      }),
      typeorm: { inject: [ConfigService], useFactory: typeormOptions },
    }),
    ApprovalsModule,
    OperationsModule,
    PatientsModule,
    StaffModule,
  ],
})
export class AppModule {}
