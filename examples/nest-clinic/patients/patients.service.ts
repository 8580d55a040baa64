import { Injectable, NotFoundException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { Sealed } from 'typeorm-field-encryption';

import type { CreatePatient, ListPatients, UpdatePatient } from './patient.dto.js';
import { Patient } from './patient.entity.js';

@Injectable()
export class PatientsService {
  constructor(@InjectRepository(Patient) private readonly patients: Repository<Patient>) {}

  /** A page of patients, all of them or those with an e-mail address, in whatever case. */
  async list(tenantId: string, { page, take, sort, email }: ListPatients) {
    const [items, total] = await this.patients.findAndCount({
      where: { tenantId, ...(email && { email }) },
      order: { [sort]: 'ASC', id: 'ASC' },
      skip: (page - 1) * take,
      take,
    });
    return { items, total };
  }

  create(tenantId: string, patient: CreatePatient): Promise<Patient> {
    return this.patients.save(this.patients.merge(this.patients.create({ tenantId }), patient));
  }

  async update(tenantId: string, id: string, changes: UpdatePatient): Promise<Patient> {
    const patient = await this.#find(tenantId, id);
    return this.patients.save(this.patients.merge(patient, changes));
  }

  async ssn(tenantId: string, id: string): Promise<{ ssn: string | null }> {
    const { ssn } = await this.#find(tenantId, id);
    return { ssn: ssn instanceof Sealed ? await ssn.reveal() : ssn };
  }

  async remove(tenantId: string, id: string): Promise<void> {
    await this.patients.softRemove(await this.#find(tenantId, id));
  }

  async #find(tenantId: string, id: string): Promise<Patient> {
    const patient = await this.patients.findOneBy({ id, tenantId });
    if (patient === null) throw new NotFoundException();
    return patient;
  }
}
