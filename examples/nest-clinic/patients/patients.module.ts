import { Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { UnsupportedValueFilter } from 'typeorm-field-encryption/nestjs';

import { StaffModule } from '../staff/staff.module.js';

import { Patient } from './patient.entity.js';
import { PatientsController } from './patients.controller.js';
import { PatientsService } from './patients.service.js';

@Module({
  imports: [TypeOrmModule.forFeature([Patient]), StaffModule],
  controllers: [PatientsController],
  providers: [PatientsService, { provide: APP_FILTER, useClass: UnsupportedValueFilter }],
})
export class PatientsModule {}
