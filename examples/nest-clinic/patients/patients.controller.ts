import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Param,
  ParseUUIDPipe,
  Patch,
  Post,
  Query,
  UseFilters,
  UseGuards,
} from '@nestjs/common';
import { UnsupportedQueryFilter } from 'typeorm-field-encryption/nestjs';

import { StaffGuard, TenantId } from '../staff/staff.guard.js';

import { CreatePatient, ListPatients, UpdatePatient } from './patient.dto.js';
import { PatientsService } from './patients.service.js';

@Controller('patients')
@UseGuards(StaffGuard)
export class PatientsController {
  constructor(private readonly patients: PatientsService) {}

  /** The client chooses the column to sort by: an encrypted one is its mistake. */
  @Get()
  @UseFilters(UnsupportedQueryFilter)
  list(@TenantId() tenantId: string, @Query() query: ListPatients) {
    return this.patients.list(tenantId, query);
  }

  @Get(':id/ssn')
  ssn(@TenantId() tenantId: string, @Param('id', ParseUUIDPipe) id: string) {
    return this.patients.ssn(tenantId, id);
  }

  @Post()
  create(@TenantId() tenantId: string, @Body() patient: CreatePatient) {
    return this.patients.create(tenantId, patient);
  }

  @Patch(':id')
  update(
    @TenantId() tenantId: string,
    @Param('id', ParseUUIDPipe) id: string,
    @Body() changes: UpdatePatient,
  ) {
    return this.patients.update(tenantId, id, changes);
  }

  @Delete(':id')
  @HttpCode(204)
  remove(@TenantId() tenantId: string, @Param('id', ParseUUIDPipe) id: string) {
    return this.patients.remove(tenantId, id);
  }
}
